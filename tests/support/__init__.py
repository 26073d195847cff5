"""What the tests share: real servers, a real project folder, and ways to look at both."""
