"""When it happens: core, link, event and flit tiers."""
