-- What was delivered is looked for by its time when it is forgotten.
CREATE INDEX outbox_delivered ON outbox (delivered_ms) WHERE delivered_ms IS NOT NULL;
