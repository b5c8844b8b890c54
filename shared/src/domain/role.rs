//! Who somebody is to the service desk.

super::text_enum! {
    /// A user's role; every role but `end_user` is staff.
    Role {
        /// Reports tickets and follows their own.
        EndUser = "end_user",
        /// Works on tickets assigned to them.
        DevopsEngineer = "devops_engineer",
        /// Works on all tickets.
        SeniorEngineer = "senior_engineer",
        /// Also assigns tickets.
        TeamLead = "team_lead",
        /// Also assigns tickets.
        Manager = "manager",
        /// May do everything, also delete.
        Admin = "admin",
    }
}

impl Role {
    /// Tells whether an answer by this role counts as a response to the customer.
    #[must_use]
    pub const fn is_staff(self) -> bool {
        !matches!(self, Self::EndUser)
    }
}
