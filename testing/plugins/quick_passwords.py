"""The settings, with passwords that are hashed as quickly as inside the tests.

A sign-up with its log-in saves half a second of a processor.
"""

from django.contrib.auth.hashers import Argon2PasswordHasher

from objectvision.settings import *  # noqa: F403  # it is the settings, but for one thing

Argon2PasswordHasher.time_cost, Argon2PasswordHasher.memory_cost, Argon2PasswordHasher.parallelism = 1, 8, 1
