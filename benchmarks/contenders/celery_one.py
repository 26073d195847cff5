"""Celery with its filesystem broker: a script that sends one task."""

import os

from celery import Celery

for folder in ("messages", "processed"):
    os.makedirs(folder, exist_ok=True)
app = Celery("bench", broker="filesystem://")
app.conf.broker_transport_options = {
    "data_folder_in": "messages",
    "data_folder_out": "messages",
    "processed_folder": "processed",
}
app.send_task("happened", args=("user A", 5000), ignore_result=True)
