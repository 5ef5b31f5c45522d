"""The parts of the runner. Their names do not meet the app's: the app's directory comes into the path later."""
