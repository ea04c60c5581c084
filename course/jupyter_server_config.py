"""JupyterLab's settings for the course; `make lab` puts this folder on JUPYTER_CONFIG_PATH."""

import sys
from pathlib import Path

c = get_config()

# Formgrader works only below the server's root, so the root is the course folder; the file
# browser opens on the reader's own notebooks, beside the page that `autograder update` writes.
root = Path(__file__).parent
(root / "work").mkdir(exist_ok=True)  # without it JupyterLab would not start
c.ServerApp.root_dir = str(root)
c.FileContentsManager.preferred_dir = "work"
c.LabApp.default_url = "/lab/tree/work/start.ipynb"

# labconfig has notebooks laid out in full ("defer"): by default a link to an exercise can miss it.

# The tabs that were open are kept with the environment, apart from those of other projects.
c.LabApp.workspaces_dir = str(Path(sys.prefix) / "share" / "jupyter" / "lab" / "workspaces")

# Nothing after the set-up asks the network: no update check, no news, no extension catalogue.
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
c.LabApp.news_url = None
c.LabApp.extension_manager = "readonly"
