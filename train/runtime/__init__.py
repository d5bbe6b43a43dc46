"""The processes of a run: ranks, stopping, arithmetic."""
