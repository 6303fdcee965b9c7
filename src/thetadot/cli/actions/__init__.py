"""What each command does, loaded once it was given: options alone load nothing heavy."""
