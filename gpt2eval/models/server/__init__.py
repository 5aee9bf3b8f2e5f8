"""Models behind an HTTP server with the completions API of OpenAI."""
