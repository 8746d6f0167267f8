"""A stand-in for AWS: see `standin.Aws`, which a live test starts beside its agent."""
