-- Which systems the ledger speaks of, without reading all of it.
CREATE INDEX ledger_by_system ON ledger (system, at_ms) WHERE system IS NOT NULL;
