"""From staged tables to core, mart and ledger, exactly; and the proof that they agree."""
