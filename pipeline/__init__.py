"""One run of ssgan.

The way of the data: `config` resolves every value, `data` loads uint8 images and their labels,
`stages.split` divides them into labelled, unlabelled, validation and test indices, `stages.train`
trains one method of `methods` with the loop of `training`, `stages.evaluate` measures the result
with `measure` and draws it with `figures`. `flow` puts the stages in order and hands what they
return to `tracking`, the only module that talks to MLflow.
"""
