"""Owns one file per vocabulary that senders use; none knows another, all translate into `auditlog.vocabulary`."""
