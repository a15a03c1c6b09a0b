"""The stages of the method, one file each: `cae`, `residuals`, `pretrain`, `finetune`."""
