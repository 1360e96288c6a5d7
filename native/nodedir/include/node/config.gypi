# As common.gypi beside it: no setting of a particular build of Node.
{'target_defaults': {}, 'variables': {'node_engine': 'v8'}}
