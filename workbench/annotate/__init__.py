"""Reference trajectories that a team corrects, reviews and versions: everything of it that needs no page.

What there is, from the bottom up; each module uses only those above it:

    tables      the tables, made by a migration of workbench.store
    document    `Document`: a trajectory as it is edited, its steps under keys that survive every reordering, with the
                marks that a `Trajectory` has no field for; `Change`: an invertible difference of two documents
    edits       what a person does to a document, each a pure function from a document to a `Change`
    checks      what is wrong with a document, as errors (which block a submission) and warnings
    pool, revisions    how documents are stored, and revisions read and appended, inside one transaction
    store       projects, trajectories and their append-only revisions; search, difference, restoring
    drafts      one open document per person and trajectory: saved at every edit, with an undo log that outlives pages
    three_way   base, theirs and mine, step by step, and how they are joined
    queue       tasks, leases, submission, review, comments, the blind second pass, progress
    agreement   how far two annotations of one task agree
    progress    counts of tasks, and of what each person did
    files_in, files_out, agentnet_form, training_rows, privacy, unpack    trajectories from files and into files
    datasets, backup, command    named dataset revisions, copies of the store, and `tracer1 annotations`

The way of the data. An imported trajectory becomes revision 1, its screenshots are stored by the hash of their pixels,
and a task of the queue waits for it. A person takes the task (a lease), opens a draft of the newest revision and edits
it: each edit is a `Change` in the draft's log, so a reload, a crash or another window finds it. Submitting appends a
revision, if the checks find no error and nobody else has appended one since; else the person sees all three versions.
A reviewer accepts it, returns it with comments on steps, or mends it (again a revision). A named dataset revision
lists trajectories with their revision numbers and is exported for training.

Nothing is overwritten: triggers refuse to change or delete revisions, the steps they consist of and dataset revisions.
A step is stored once under the hash of its content, so a revision costs what was changed in it.

Revisions of a trajectory stand in branches: "main" is the reference; "second" is a blind second annotation, which
starts from the imported revision, is given only to who has not worked on the first, and is there to measure agreement.

All times are ISO text in UTC, all boxes and points canonical 0..1, all steps that a person reads count from 1. What
somebody may do is decided here by their role (workbench.people), not by the page that asks. Others bring trajectories
in with `AnnotationStore.add`, whose `origin` says where from: an episode, or a benchmark's sample with its reason.
"""
