"""What a night does, a package for each stretch of the way of a record. May import schemas, never flows.

A package imports those above it here, none below:

    memory, sample   when garbage is looked for; a synthetic snapshot to try things on
    storage          the warehouse: engines, layout, transactions; the folders of a run
    reading          a raw record becomes a typed work, or goes to quarantine
    countries        which countries a work belongs to, with the proof
    sources          where works come from: the only place that reaches out
    loading          staged tables become core, mart and ledger; the proof that they agree
    landing          windows of a source, and their raw bytes on disk
    staging          landed lines become staged Arrow tables
    validation       what is expected of records and batches, and what was found
    releases         what readers get: copies, exports, reports, questions
    batches          what is committed as a whole, taken back, or decided again
    upkeep           state, runs, upgrades, retention, alerts
    night            the steps of one night, as methods
"""
