"""What travels between rooms: tables, contracts, parameters, plugins and the store."""
