/* The Python module of one formula: its name is the macro FORMULA. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "fractal.h"

#define TEXT(name) #name
#define QUOTED(name) TEXT(name)
#define JOINED(a, b) a##b
#define INIT(name) JOINED(PyInit_, name)

PyDoc_STRVAR(render_doc,
             "render(width, height, x, y, span, limit=400, samples=2) -> bytes\n\n"
             "The picture around (x, y), `span` wide, as rows of red, green and blue bytes.");

static PyObject *render(PyObject *Py_UNUSED(self), PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"width", "height", "x", "y", "span", "limit", "samples", NULL};
    View view = {.limit = 400, .samples = 2};

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iiddd|ii:render", names, &view.width,
                                     &view.height, &view.x, &view.y, &view.span, &view.limit,
                                     &view.samples))
        return NULL;
    if (view.width < 1 || view.height < 1 || view.samples < 1) {
        PyErr_SetString(PyExc_ValueError, "width, height and samples must be 1 or more");
        return NULL;
    }
    if (view.height > PY_SSIZE_T_MAX / 3 / view.width)
        return PyErr_NoMemory();
    PyObject *picture = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)view.width * view.height * 3);
    if (picture == NULL)
        return NULL;
    unsigned char *pixels = (unsigned char *)PyBytes_AS_STRING(picture);
    /* Nobody else has the bytes yet, so other threads may run, each drawing its own part. */
    Py_BEGIN_ALLOW_THREADS
    draw(&view, pixels);
    Py_END_ALLOW_THREADS
    return picture;
}

static PyMethodDef methods[] = {
    {"render", (PyCFunction)(void (*)(void))render, METH_VARARGS | METH_KEYWORDS, render_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "fractal." QUOTED(FORMULA),
    .m_methods = methods,
};

PyMODINIT_FUNC INIT(FORMULA)(void) { return PyModule_Create(&module); }
