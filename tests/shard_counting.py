"""How many shards calls have."""

from numlstm.backends.cpu.machine import threads


def counted(monkeypatch):
    """Any work is worth a thread. A list of how many shards each call had that more than one thread could share."""
    counts, run, share = [], threads.ThreadPool.run, threads.ThreadPool.share

    def counting_run(pool, function, shards):
        counts.append(len(shards))
        run(pool, function, shards)

    def counting_share(pool, code, at, shards):
        counts.append(len(shards))
        share(pool, code, at, shards)

    monkeypatch.setattr(threads, "WORK_PER_THREAD", 1.0)
    monkeypatch.setattr(threads.ThreadPool, "run", counting_run)
    monkeypatch.setattr(threads.ThreadPool, "share", counting_share)
    return counts
