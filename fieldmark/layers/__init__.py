"""Building blocks in torch alone: function first, thin module second."""
