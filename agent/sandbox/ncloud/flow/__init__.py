"""
Data Flow behind the same gateway: jobs, workflows, triggers, what ran when, and how it ended.

Nothing is computed and nothing read: an execution is a stretch of the far side's clock. Schedules do not come due.
"""
