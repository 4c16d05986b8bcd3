"""Fine-tuning: a pretrained model becomes a classifier, an assistant, or the assistant people prefer."""
