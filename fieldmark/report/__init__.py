"""Tables, pictures and the page people read."""
