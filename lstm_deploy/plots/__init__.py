"""Pictures for people (extra ``[plots]``): a learning curve, what a model confuses, how sure it is."""
