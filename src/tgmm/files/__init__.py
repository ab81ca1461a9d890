"""Files of plain data: numbers, text and float64 tensors, written whole or not at all, checked on the way back."""
