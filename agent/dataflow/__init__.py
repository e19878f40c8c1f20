"""
`[[dataflow]]`: runs a job of NAVER Data Flow over what a sink has stored, once.

    sink.send ─▸ stored ─▸ noted on disk ─▸ taken for delivered
                              │
                 rule: due? ─▸ intent on disk ─▸ start ─▸ execution's id on disk ─▸ follow ─▸ outcome on disk

Whatever moment the agent is killed at, the next start finds on disk what was meant, and asks Data Flow what came of it.
"""
