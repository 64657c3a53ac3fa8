"""Calls to the FAQ: LiveKit's server, the tokens that let callers in, and the agent that answers them."""
