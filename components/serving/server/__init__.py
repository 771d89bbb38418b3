"""The server around the model: protocols, routes, start and end."""
