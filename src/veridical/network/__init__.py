"""The detection market: miners answer challenges, validators set weights, a chain settles."""
