"""Why a learned prompt works: what its tokens, its template and its label words do."""
