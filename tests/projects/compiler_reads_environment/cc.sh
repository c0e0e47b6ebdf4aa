#!/bin/sh
exec gcc $WRAPPER_FLAGS "$@"
