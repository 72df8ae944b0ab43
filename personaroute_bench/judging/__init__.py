"""From personas and responses to choices: style ratings, judges, and how far to trust them."""
