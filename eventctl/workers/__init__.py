"""The processes that run deliveries."""
