"""
The names of NAVER Cloud's own server agent, under which Cloud Insight shows a server (System/Server).

Counters are rates here, as there: in a second, and failed packets in a minute. Sizes are MiB, as that
agent sends them, whatever a name such as `used_byt_cnt` says. What it says of a whole server is in a
record with the dimension `schema_type = "svr"`, as there. docs/host-metrics.md says by what each name
is known; what NAVER has no name for has one of ours in its style, without `by`.
"""

from __future__ import annotations

import re
import time

from agent.collectors.host.cpu import STATES
from agent.collectors.host.naming import server
from agent.collectors.host.naming.names import (
    BITS_PER_SECOND,
    KIBIBYTES,
    MEBIBYTES,
    Also,
    LeftOut,
    Names,
    Naming,
    To,
    Unit,
    same,
)

SOURCES = {
    "D": "Cloud Insight metrics of Server (VPC), api.ncloud-docs.com/docs/compute-vserver-metric",
    "S": "Cloud Insight metrics of Auto Scaling (VPC), api-gov.ncloud-docs.com/docs/compute-vautoscaling-metric, "
    "and the agent's source",
    "A": "the agent's source (NaverCloudPlatform/NSightAgent, agent_linux/collectors/0)",
}

MINUTE = 60
QUEUE = Unit("requests", lambda milliseconds: round(milliseconds / 1000, 6))
STALLED = Unit("%", lambda microseconds: round(microseconds / 1e4, 4))
BOOTED = Unit("s since 1970, to a second", lambda uptime: int(time.time() - uptime))

SECONDS = {f"time_{state}": To(f"{state}_tm_ss") for state in (*STATES, "active")}


NCLOUD = Naming(
    sources=SOURCES,
    groups={
        "cpu": Names(  # of one CPU
            tags={"cpu": To("cpu_idx", by="A")},
            retag=lambda tags: tuple((tag, value.removeprefix("cpu")) for tag, value in tags),
            fields={
                "usage_user": To("user_rto", by="D"),
                "usage_system": To("sys_rto", by="D"),
                "usage_idle": To("idle_rto", by="D"),
                "usage_active": To("used_rto", by="D"),
                "usage_nice": To("nice_rto", by="D"),
                "usage_irq": To("irq_rto", by="D"),
                "usage_softirq": To("softirq_rto", by="D"),
                "usage_iowait": To("io_wait_rto", by="D"),
                "usage_steal": To("steal_rto"),
                "usage_guest": To("guest_rto"),
                "usage_guest_nice": To("guest_nice_rto"),
                **SECONDS,
            },
            special={
                (("cpu", "cpu-total"),): Names(
                    retag=lambda tags: server.SERVER,
                    fields={
                        "usage_user": To("avg_cpu_user_rto", by="S"),
                        "usage_system": To("avg_cpu_sys_rto", by="S"),
                        "usage_idle": To("avg_cpu_idle_rto", by="S"),
                        "usage_active": To("avg_cpu_used_rto", by="S"),
                        "usage_nice": To("avg_nice_rto", by="A"),
                        "usage_irq": To("avg_irq_rto", by="A"),
                        "usage_softirq": To("avg_softirq_rto", by="A"),
                        "usage_iowait": To("avg_io_wait_rto", by="A"),
                        "usage_steal": To("avg_steal_rto"),
                        "usage_guest": To("avg_guest_rto"),
                        "usage_guest_nice": To("avg_guest_nice_rto"),
                        **SECONDS,
                    },
                )
            },
            summary=server.largest_cpu,
            summed=server.says(["max_cpu_used_rto"], "A", "%"),
        ),
        "load": Names(
            fields={
                "load1": To("load_average_1m", by="A"),
                "load5": To("load_average_5m", by="A"),
                "load15": To("load_average_15m", by="A"),
            }
        ),
        "mem": Names(
            fields={
                "total": To("mem_mb", MEBIBYTES, by="A"),
                "used": To("used_mem_mb", MEBIBYTES, by="A"),
                "free": To("free_mem_mb", MEBIBYTES, by="A"),
                "used_percent": To("mem_usert", by="S"),
                "shared": To("shared_mem_mb", MEBIBYTES, by="A"),
                "buffered": To("bffr_mb", MEBIBYTES, by="A"),
                "cached": To("cache_mb", MEBIBYTES, by="A"),
                "available": To("avail_mem_mb", MEBIBYTES),
                "available_percent": To("avail_mem_rto"),
                "huge_page_size": To("huge_page_mb", MEBIBYTES),
                "huge_pages_total": To("huge_page_cnt"),
                "huge_pages_free": To("free_huge_page_cnt"),
                "swap_total": LeftOut("`host.swap` has it"),
                "swap_free": LeftOut("`host.swap` has it"),
                **same(
                    "active inactive dirty write_back write_back_tmp mapped page_tables commit_limit committed_as slab "
                    "sreclaimable sunreclaim swap_cached vmalloc_total vmalloc_used vmalloc_chunk high_total high_free "
                    "low_total low_free wired",
                    "",
                    "_mb",
                    MEBIBYTES,
                ),
            }
        ),
        "swap": Names(
            fields={
                "total": To("swap_mb", MEBIBYTES, by="A"),
                "used": To("swap_used_mb", MEBIBYTES, by="A"),
                "free": To("swap_free_mb", MEBIBYTES, by="A"),
                "used_percent": To("swap_usert", by="A"),
                "in": To("swap_in_mb", MEBIBYTES, rate=1),
                "out": To("swap_out_mb", MEBIBYTES, rate=1),
            }
        ),
        "disk": Names(
            tags={
                "path": To("mnt_nm", by="A"),
                "device": To("dev_nm", by="A"),
                "fstype": To("fs_type_nm", by="A"),
                "mode": To("mnt_mode_cd"),
            },
            fields={
                "total": To("all_byt_cnt", MEBIBYTES, by="A"),
                "used": To("used_byt_cnt", MEBIBYTES, by="A"),
                "free": To("free_byt_cnt", MEBIBYTES, by="A"),
                "used_percent": To("fs_usert", by="A"),
                "inodes_used_percent": To("ind_usert", by="A"),
                "inodes_total": To("ind_all_cnt"),
                "inodes_used": To("ind_used_cnt"),
                "inodes_free": To("ind_free_cnt"),
            },
            summary=server.file_systems,
            summed=server.says(["fs_all_mb", "fs_used_mb", "fs_free_mb"], "A", "MiB")
            + server.says(["avg_fs_usert", "max_fs_usert", "avg_ind_usert"], "A", "%"),
        ),
        "diskio": Names(
            tags={"name": To("disk_idx", by="A")},
            fields={
                "reads": To("read_cnt", rate=1, by="A"),
                "writes": To("write_cnt", rate=1, by="A"),
                "read_bytes": To("read_byt_cnt", rate=1, by="A"),
                "write_bytes": To("write_byt_cnt", rate=1, by="A"),
                "weighted_io_time": To("avgqu_sz", QUEUE, rate=1, by="A"),
                "io_await": To("await_tm", by="A"),
                "io_svctm": To("svc_tm", by="A"),
                "io_util": To("used_rto", by="A"),
                "merged_reads": To("read_mrg_cnt", rate=1),
                "merged_writes": To("write_mrg_cnt", rate=1),
                "read_time": To("read_tm", rate=1),
                "write_time": To("write_tm", rate=1),
                "io_time": LeftOut("`used_rto` is made of it"),
                "iops_in_progress": To("io_prgs_cnt"),
            },
            also=(
                Also(
                    "avgrq_sz",
                    "sectors of 512 B",
                    ("read_byt_cnt", "write_byt_cnt", "read_cnt", "write_cnt"),
                    lambda read, written, reads, writes: (read + written) / 512 / ((reads + writes) or 1),
                    by="A",
                ),
            ),
            summary=server.disks,
            summed=server.says(["avg_read_byt_cnt", "avg_write_byt_cnt"], "S", "B/s")
            + server.says(["max_read_byt_cnt", "max_write_byt_cnt"], "A", "B/s")
            + server.says(["avg_read_cnt", "max_read_cnt", "avg_write_cnt", "max_write_cnt"], "A", "1/s"),
        ),
        "net": Names(
            tags={"interface": To("nic_desc", by="A")},
            fields={
                "bytes_recv": To("rcv_bps", BITS_PER_SECOND, rate=1, by="A"),
                "bytes_sent": To("snd_bps", BITS_PER_SECOND, rate=1, by="A"),
                "packets_recv": To("rcv_pps", rate=1, by="A"),
                "packets_sent": To("snd_pps", rate=1, by="A"),
                "err_in": To("rcv_fail_packt_cnt", rate=MINUTE, by="A"),
                "err_out": To("snd_fail_packt_cnt", rate=MINUTE, by="A"),
                "drop_in": To("rcv_drop_packt_cnt", rate=MINUTE),
                "drop_out": To("snd_drop_packt_cnt", rate=MINUTE),
                "speed": To("nic_mbps"),
            },
            summary=server.interfaces,
            summed=server.says(["avg_rcv_bps"], "S", "bit/s")
            + server.says(["max_rcv_bps", "avg_snd_bps", "max_snd_bps"], "A", "bit/s")
            + server.says(["avg_rcv_pps", "max_rcv_pps", "avg_snd_pps", "max_snd_pps"], "A", "1/s")
            + server.says(["avg_rcv_fail_packt_cnt", "avg_snd_fail_packt_cnt"], "A", "1/min"),
        ),
        "system": Names(
            fields={
                "uptime": To("boot_time", BOOTED, by="A"),
                "n_unique_users": To("user_cnt", by="A"),
                "n_users": To("login_cnt"),
                "n_cpus": To("cpu_cnt"),
                "n_physical_cpus": To("core_cnt"),
            }
        ),
        "processes": Names(
            fields={
                "total": To("proc_cnt", by="A"),
                "total_threads": To("all_thd_cnt"),
                **same("running sleeping blocked zombies dead stopped paging idle parked unknown", "", "_proc_cnt"),
            }
        ),
        "pressure": Names(
            tags={"resource": To("rsrc_nm"), "type": To("stall_type_cd")},
            fields={
                "avg10": To("stall_10s_rto"),
                "avg60": To("stall_60s_rto"),
                "avg300": To("stall_300s_rto"),
                "total": To("stall_rto", STALLED, rate=1),
            },
        ),
        "cgroup": Names(
            tags={"path": To("cgrp_nm")},
            fields={},
            rest=lambda name: "cgrp_" + re.sub(r"\W+", "_", name, flags=re.ASCII),
        ),
        "temperature": Names(
            tags={"chip": To("chip_nm"), "device": To("dev_nm"), "label": To("sensor_nm")},
            fields={"current": To("temp_val"), "high": To("temp_high_val"), "critical": To("temp_crit_val")},
        ),
        "fan": Names(
            tags={"chip": To("chip_nm"), "device": To("dev_nm"), "label": To("sensor_nm")},
            fields={"rpm": To("fan_rpm")},
        ),
        "battery": Names(
            fields={"percent": To("btry_rto"), "seconds_left": To("btry_left_ss"), "plugged": To("plug_stat_cd")}
        ),
        "top": Names(
            tags={"process_name": To("proc_nm", by="A"), "pid": To("proc_id", by="A"), "user": To("user_nm")},
            fields={
                "cpu_share": To("cpu_usert", by="A"),
                "cpu_usage": LeftOut("`cpu_usert`, times the number of CPUs"),
                "memory_usage": To("p_proc_mem_usert", by="A"),
                "memory_vms": To("vir_mem_byt_cnt", KIBIBYTES, by="A"),
                "memory_rss": To("rss_mem_mb", MEBIBYTES),
                "num_threads": To("thd_cnt", by="A"),
            },
        ),
        "users": Names(tags={"user": To("user_nm")}, fields={"n_sessions": To("login_cnt")}),
    },
)
