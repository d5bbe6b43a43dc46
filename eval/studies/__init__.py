"""Which inputs the models are measured on."""
