"""What a call runs: Python functions behind a JSON schema, and the formats in which models write calls."""
