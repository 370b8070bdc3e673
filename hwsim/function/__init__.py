"""The functional pass: who spikes when."""
