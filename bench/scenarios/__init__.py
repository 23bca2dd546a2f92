"""One module for each family of scenarios: what is asked of which servers, and what is read off."""
