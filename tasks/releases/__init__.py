"""What readers get: published copies, exports, reports, and ready-made questions."""
