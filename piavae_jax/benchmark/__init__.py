"""Every system on one data set, under one protocol: run, compared user by user, reported."""
