"""`tracer1 annotations`: reference trajectories without the page: in, out, named, copied, put back."""

from __future__ import annotations

import argparse
import getpass
from pathlib import Path

HELP = "import, name, export and back up reference trajectories of the workbench's store"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `tracer1 annotations`."""
    from workbench.annotate.files_in import FORMS as FORMS_IN
    from workbench.annotate.files_out import FORMS as FORMS_OUT
    from workbench.settings import DEFAULT_STORE

    parser.add_argument("--store", type=Path, default=DEFAULT_STORE, metavar="DIR",
                        help="the workbench's folder (default: %(default)s)")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    actions.add_parser("list", help="projects, how far they are, and dataset revisions")

    read = actions.add_parser("import", help="put the trajectories of a file into a project's queue")
    read.add_argument("path", type=Path, metavar="PATH", help="file or folder")
    read.add_argument("--project", required=True, metavar="NAME", help="the project; is made when it does not exist")
    read.add_argument("--form", default="trajectories", choices=FORMS_IN, metavar="FORM",
                      help=f"one of {', '.join(FORMS_IN)} (default: trajectories)")
    read.add_argument("--images", type=Path, metavar="DIR", help="folder of the screenshots, for public data sets")
    read.add_argument("--report", type=Path, metavar="FILE", help="also write the report as JSON")

    revise = actions.add_parser("revise", help="name the present state of a project as a dataset revision")
    revise.add_argument("name", metavar="NAME", help="letters, digits, '.', '_', '-'; can never be used again")
    revise.add_argument("--project", required=True, metavar="NAME", help="the project")
    revise.add_argument("--why", required=True, metavar="TEXT", help="what it is for")
    revise.add_argument("--state", default="accepted", metavar="STATE",
                        help="only trajectories in this state (default: accepted); 'all' takes every one")
    revise.add_argument("--split", metavar="SPLIT=SHARE,...",
                        help="such as train=0.9,val=0.1; no screen is in two splits (default: as they are)")

    write = actions.add_parser("export", help="write a dataset revision as a file")
    write.add_argument("name", metavar="NAME", help="the dataset revision")
    write.add_argument("--out", type=Path, required=True, metavar="FILE", help="file, or folder for 'datasets'")
    write.add_argument("--form", default="trajectories", choices=FORMS_OUT, metavar="FORM",
                       help=f"one of {', '.join(FORMS_OUT)} (default: trajectories)")

    copy = actions.add_parser("backup", help="copy the whole store, also while the app runs")
    copy.add_argument("folder", type=Path, metavar="DIR", help="where to; an earlier copy there is brought up to date")
    back = actions.add_parser("restore", help="put a copy in place as --store, which must hold none")
    back.add_argument("folder", type=Path, metavar="DIR", help="the copy")


def run(args: argparse.Namespace) -> int:
    """Does what was asked; 2 when an import kept nothing, else 0."""
    if args.action == "backup":
        from workbench.annotate.backup import back_up

        print(f"copied to {back_up(args.store, args.folder)}")
        return 0
    if args.action == "restore":
        from workbench.annotate.backup import restore

        print(f"put back as {restore(args.folder, args.store)}")
        return 0
    return {"list": _list, "import": _import, "revise": _revise, "export": _export}[args.action](args)


def _list(args: argparse.Namespace) -> int:
    from workbench.annotate.datasets import dataset_revisions
    from workbench.annotate.progress import progress
    from workbench.annotate.store import AnnotationStore

    store = AnnotationStore(args.store)
    names = {project.id: project.name for project in store.projects()}
    if not names:
        print("no projects yet: `tracer1 annotations import` makes one")
    for project in store.projects():
        tasks = progress(store, project).tasks
        told = ", ".join(f"{count} {state}{'' if branch == 'main' else f' ({branch})'}"
                         for (branch, state), count in sorted(tasks.items()))
        print(f"project {project.name}: {told or 'no trajectories'}")
    for revision in dataset_revisions(store):
        splits = ", ".join(f"{count} {split}" for split, count in sorted(revision.num_by_split.items()))
        print(f"dataset revision {revision.name} of {names[revision.project]}, {revision.created[:10]}: {splits}; "
              f"fingerprint {revision.fingerprint[:12]}; {revision.why}")
    return 0


def _import(args: argparse.Namespace) -> int:
    from executors.errors import MissingFileError
    from workbench.annotate.files_in import read_in
    from workbench.annotate.store import AnnotationStore

    if not args.path.exists():
        raise MissingFileError(f"{args.path} does not exist: check the path")
    store = AnnotationStore(args.store)
    known = {project.name: project for project in store.projects()}
    project = known.get(args.project) or store.add_project(args.project, person=_who())
    report = read_in(store, project, args.path, args.form, person=_who(), images=args.images)
    if args.report is not None:
        report.save(args.report)
    print(report.summary())
    return 0 if report.num_trajectories else 2


def _revise(args: argparse.Namespace) -> int:
    from workbench.annotate.datasets import name_revision, read_shares
    from workbench.annotate.store import AnnotationStore

    store = AnnotationStore(args.store)
    revision = name_revision(
        store, store.project(args.project), args.name, why=args.why, person=_who(),
        state="" if args.state == "all" else args.state, shares=None if args.split is None else read_shares(args.split))
    splits = ", ".join(f"{count} {split}" for split, count in sorted(revision.num_by_split.items()))
    print(f"dataset revision {revision.name}: {splits}; fingerprint {revision.fingerprint}")
    return 0


def _export(args: argparse.Namespace) -> int:
    from workbench.annotate.datasets import dataset_revision, export
    from workbench.annotate.store import AnnotationStore

    store = AnnotationStore(args.store)
    report = export(store, dataset_revision(store, args.name), args.out, args.form, person=_who())
    print(report)
    return 0 if report.num_trajectories else 2


def _who() -> str:
    """The name of who runs the command, as the author of what it writes."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a process without an entry in the list of users
        return ""
