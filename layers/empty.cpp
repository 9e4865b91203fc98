namespace tapescope {}
