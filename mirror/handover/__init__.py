"""To and from ``cvmfs_server``: what it keeps is read, and written so that it can go on.

    small_files    files of others, read with a limit and never through a link
    shell_values   KEY=VALUE as a shell would read it, without a shell
    hosted         server.conf and replica.conf → one repository, or why it is none for us
    key_files      which master keys belong to a name
    links          where its directories have other names than ours
    adoption       all that makes such a repository a replica of ours      (import)
    neighbours     cron jobs and web servers that would work beside us     (import)
    handing_back   our replica → server.conf and replica.conf              (export)
    written        putting these files where they belong                   (export)

Its files are shell scripts that root runs. None is ever run here; what cannot be understood
without running it is said, and left out.
"""
