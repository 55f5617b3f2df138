"""How many shards calls have."""

from numlstm.backends.cpu.machine import threads


def counted(monkeypatch):
    """Any work is worth a thread. A list of how many threads could share each call, where it was more than one."""
    counts, run, share = [], threads.ThreadPool.run, threads.ThreadPool.share

    def counting_run(pool, function, shards):
        counts.append(len(shards))
        run(pool, function, shards)

    def counting_share(pool, calls, count, helpers):
        if helpers:
            counts.append(helpers + 1)
        share(pool, calls, count, helpers)

    monkeypatch.setattr(threads, "WORK_PER_THREAD", 1.0)
    monkeypatch.setattr(threads.ThreadPool, "run", counting_run)
    monkeypatch.setattr(threads.ThreadPool, "share", counting_share)
    return counts
