"""nbgrader's settings for the labs; read by every `nbgrader` command run in this folder."""

c = get_config()  # noqa: F821  (nbgrader puts it there)
c.CourseDirectory.course_id = "bfr_lite"
c.Execute.timeout = 120  # seconds for a cell, as in the project's tests
