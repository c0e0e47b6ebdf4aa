"""Python's limited API: another suffix for the module, another tag for the wheel."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            name,
            [f"{name}.c"],
            define_macros=[("Py_LIMITED_API", "0x030B0000")],
            py_limited_api=True,
        )
        for name in ("old", "older")
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
