from importlib import import_module

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        from accounts import mails

        import_module("accounts.api.schema")  # drf-spectacular finds extensions by their import
        mails.register_account_mails()
