"""Does a model file give the same tags in every runtime? Runs them all on the same batches, and says.

Nothing here is needed to tag: the runtimes are optional, and those that are not installed are passed over by name.
"""
