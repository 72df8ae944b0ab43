"""What others see of a data set: its card and its manifest."""
