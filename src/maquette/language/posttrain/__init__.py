"""From a pretrained model to one that answers: fine-tuning, reinforcement with verifiable rewards, distillation."""
